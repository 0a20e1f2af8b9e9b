//! `#[derive(Code)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::{Data, DeriveInput, Error, Result};

use crate::input;

pub(crate) fn derive(input: DeriveInput) -> Result<TokenStream> {
    let name = &input.ident;
    let Data::Enum(data) = &input.data else {
        return Err(Error::new_spanned(name, "`Code` is derived for enums; a struct of plain data derives `Plain`"));
    };
    if let Some(param) = input.generics.params.first() {
        return Err(Error::new_spanned(param, "an enum without fields has no use for parameters"));
    }
    if let Some(variant) = data.variants.iter().find(|variant| !variant.fields.is_empty()) {
        let help = "`Code` holds enums without fields: derive `Item` for this one and send it through a queue, \
                    or store its parts in a `#[derive(Plain)]` struct";
        return Err(Error::new_spanned(&variant.fields, help));
    }
    if data.variants.is_empty() {
        return Err(Error::new_spanned(name, "`Code` needs an enum that has a variant"));
    }
    let reprs = input::reprs(&input.attrs)?;
    if let Some(other) = reprs.iter().find(|word| *word != "u8") {
        return Err(Error::new_spanned(other, "a `Code` is one byte: write `#[repr(u8)]`"));
    }
    if reprs.is_empty() {
        return Err(Error::new_spanned(
            name,
            format!("`Code` needs the numbers of the variants to be bytes: add `#[repr(u8)]` to `{name}`"),
        ));
    }
    let names = input::names(&input)?;

    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let labels = variants.iter().map(|variant| variant.unraw().to_string());
    let code = input::local("code");

    Ok(quote! {
        #[automatically_derived]
        impl #names::CodeEnum for #name {
            const LAYOUT: u64 = #names::Layout::new("enum", 1, 1) #(.text(#labels).number(Self::#variants as u64))* .hash();

            fn to_code(self) -> u8 {
                self as u8
            }

            fn from_code(#code: u8) -> ::core::option::Option<Self> {
                #(if #code == Self::#variants as u8 {
                    return ::core::option::Option::Some(Self::#variants);
                })*
                ::core::option::Option::None
            }
        }
    })
}
