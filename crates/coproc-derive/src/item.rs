//! `#[derive(Item)]`.

use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Fields, Result};

use crate::input;
use crate::message::{self, Of};

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let names = &input::names(&input)?;
    let message = message::expand(&input, Of::Items, names)?;
    let name = &input.ident;
    let bound = quote!(#names::Item);
    let generics = input::bounded(&input, message::field_types(&input, "Item")?.into_iter().map(|ty| (ty, &bound)));
    let layout = match &input.data {
        Data::Struct(data) => {
            let fields = hashed(&data.fields, names);
            quote!(#names::Layout::of::<()>("item struct") #fields)
        }
        Data::Enum(data) => {
            let labels = data.variants.iter().map(|variant| variant.ident.unraw().to_string());
            let fields = data.variants.iter().map(|variant| hashed(&variant.fields, names));
            quote!(#names::Layout::of::<()>("item enum") #(.text(#labels) #fields)*)
        }
        Data::Union(_) => unreachable!("field_types refuses unions"),
    };
    let (impl_generics, ty_generics, clause) = generics.split_for_impl();
    let force = input.generics.params.is_empty().then(|| quote!(const _: usize = __item_size::<#name>();));

    Ok(quote! {
        const _: () = {
            const fn __item_size<T: #names::Item>() -> usize {
                T::SIZE
            }

            #message

            #[automatically_derived]
            impl #impl_generics #names::Item for #name #ty_generics #clause {
                const LAYOUT: u64 = #layout.hash();
            }
            #force
        };
    })
}

/// Adds the number of fields, and each field's name, place and layout.
fn hashed(fields: &Fields, names: &TokenStream) -> TokenStream {
    let fields = input::fields(fields);
    let count = fields.len() as u64;
    let fields = fields.iter().enumerate().map(|(index, field)| {
        let (label, ty) = (&field.label, field.ty);
        let layout = quote_spanned!(input::at(ty)=> { __item_size::<#ty>(); <#ty as #names::Item>::LAYOUT });
        quote!(.field(#label, #index, #layout))
    });
    quote!(.number(#count) #(#fields)*)
}
