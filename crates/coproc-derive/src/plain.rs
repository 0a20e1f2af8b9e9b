//! `#[derive(Plain)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::{Data, DeriveInput, Error, Result};

use crate::input;

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let data = match &input.data {
        Data::Struct(data) => data,
        Data::Enum(_) => {
            return Err(Error::new_spanned(
                name,
                format!(
                    "`Plain` cannot be derived for an enum: a killed or hostile process may leave a number behind that is no variant. \
                     Derive `Code` for it and store `Code<{name}>`; for an enum with fields derive `Item` and send it through a queue"
                ),
            ));
        }
        Data::Union(_) => {
            return Err(Error::new_spanned(
                name,
                "`Plain` cannot be derived for a union: nobody can tell which field another process wrote. \
                 Use a struct that has all of the fields, or bytes (`[u8; 8]`) and conversions",
            ));
        }
    };
    input::no_lifetimes(&input.generics)?;
    input::require_c(&input, "Plain", false)?;
    let names = input::names(&input)?;

    let fields = input::fields(&data.fields);
    let types: Vec<_> = fields.iter().map(|field| field.ty).collect();
    let bound = quote!(#names::Plain);
    let mut generics = input::bounded(&input, types.iter().map(|&ty| (ty, &bound)));
    let layouts = fields.iter().map(|field| {
        let (member, label, ty) = (&field.member, &field.label, field.ty);
        // The one place that asks for the field to be plain, so that a wrong one is one error.
        let layout = quote_spanned!(input::at(ty)=> #names::plain_layout::<#ty>());
        quote!(.field(#label, ::core::mem::offset_of!(Self, #member), #layout))
    });
    let padding = format!(
        "`{name}` has padding bytes between or after its fields: \
         reorder them from large to small, or fill the gap with a field like `_pad: [u8; 4]`"
    );
    // In `LAYOUT`, and not beside it: an assertion about a struct that has a wrong field would only be a second error.
    let assertion = quote_spanned! {input::at(name)=>
        ::core::assert!(::core::mem::size_of::<Self>() == 0 #(+ ::core::mem::size_of::<#types>())*, #padding);
    };
    let (_, ty_generics, _) = input.generics.split_for_impl();
    let force = if input.generics.params.is_empty() {
        quote!(const _: u64 = <#name as #names::Shareable>::LAYOUT;)
    } else {
        // `Copy` may ask more of a parameter than the fields being plain does: `[T; 3]: Copy` does not imply `T: Copy`.
        generics.make_where_clause().predicates.push(syn::parse_quote!(#name #ty_generics: ::core::marker::Copy));
        quote!()
    };
    let (impl_generics, _, clause) = generics.split_for_impl();

    Ok(quote! {
        // SAFETY:
        // 1, 2, 4: Each field is plain data (`plain_layout`), and there is nothing between them (the assertion).
        // 3: The hash is made from the size, and each field's name, offset and layout.
        #[automatically_derived]
        unsafe impl #impl_generics #names::Shareable for #name #ty_generics #clause {
            type Access = #names::Locked;
            const LAYOUT: u64 = {
                #assertion
                #names::Layout::of::<Self>("struct") #(#layouts)* .hash()
            };
        }
        // SAFETY: as above, 4.
        #[automatically_derived]
        unsafe impl #impl_generics #names::Plain for #name #ty_generics #clause {}
        #force
    })
}
